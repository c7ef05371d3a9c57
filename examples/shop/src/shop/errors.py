"""What a customer can do wrong, and the HTTP status that each leads to."""

from http import HTTPStatus


class ShopError(Exception):
    """Something the customer is told."""

    status = HTTPStatus.BAD_REQUEST


class InvalidError(ShopError):
    """The request makes no sense."""


class NotFoundError(ShopError):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class NotAllowedError(ShopError):
    """The thing is there, but can't be asked in this way."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class ConflictError(ShopError):
    """The request makes sense, but not in the state that things are in."""

    status = HTTPStatus.CONFLICT


class TooLargeError(ShopError):
    """The body is longer than any order needs."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
