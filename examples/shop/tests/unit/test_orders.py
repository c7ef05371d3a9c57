import pytest
from shop.errors import InvalidError
from shop.orders import MOST, Line, Order, read_lines, total


def test_total_is_quantity_times_price_of_every_line():
    assert total([Line("tea", 2, 890), Line("cup", 1, 1450)]) == 3230


def test_total_of_nothing_is_nothing():
    assert total([]) == 0


def test_order_as_json_has_its_total():
    order = Order(7, (Line("tea", 2, 890),), "paid")
    assert order.as_json() == {
        "id": 7,
        "lines": ({"sku": "tea", "quantity": 2, "price": 890},),
        "state": "paid",
        "total": 1780,
    }


def test_read_lines_puts_lines_of_one_product_together():
    lines = [("tea", 1), ("cup", 1), ("tea", 2)]
    body = {"lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines]}
    assert read_lines(body) == (Line("tea", 3), Line("cup", 1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(None, "an order looks like", id="nothing"),
        pytest.param([], "an order looks like", id="a list"),
        pytest.param({"lines": "tea"}, "an order looks like", id="lines that are no list"),
        pytest.param({"lines": []}, "at least one line", id="no line"),
        pytest.param({"lines": ["tea"]}, "a line looks like", id="a line that is no object"),
        pytest.param({"lines": [{"quantity": 1}]}, "a line looks like", id="no product"),
        pytest.param({"lines": [{"sku": "tea"}]}, "and not None", id="no quantity"),
        pytest.param({"lines": [{"sku": "tea", "quantity": 0}]}, "and not 0", id="none of it"),
        pytest.param({"lines": [{"sku": "tea", "quantity": -1}]}, "and not -1", id="less than none"),
        pytest.param({"lines": [{"sku": "tea", "quantity": MOST + 1}]}, "and not 1001", id="too many"),
        pytest.param({"lines": [{"sku": "tea", "quantity": True}]}, "and not True", id="a truth value"),
        pytest.param({"lines": [{"sku": "tea", "quantity": 1.5}]}, "and not 1.5", id="one and a half"),
    ],
)
def test_read_lines_refuses(body, message):
    with pytest.raises(InvalidError, match=message):
        read_lines(body)
