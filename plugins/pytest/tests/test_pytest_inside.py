"""What an image's Python says of itself, and what comes beside it for that. The rest is in tests/test_inside.py."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_pytest.inside import Image


def image(**more: Any) -> Image:
    fields = {
        "version": "3.11.2",
        "release": (3, 11),
        "path": "/usr/bin/python3",
        "platform": "linux-x86_64",
        "libc": "2.36",
        "directory": "/",
        "tmp": True,
        "packages": (),
        "found": {},
    }
    return Image.model_validate({**fields, **more})


@pytest.mark.parametrize(
    ("fields", "first", "uv"),
    [
        ({}, "manylinux_2_36_x86_64", "x86_64-manylinux_2_36"),
        ({"libc": "2.30"}, "manylinux_2_30_x86_64", "x86_64-manylinux_2_28"),
        ({"libc": "2.12"}, "manylinux_2_12_x86_64", None),
        ({"libc": ""}, "musllinux_1_2_x86_64", "x86_64-unknown-linux-musl"),
        ({"platform": "linux-riscv64"}, "manylinux_2_36_riscv64", None),
    ],
)
def test_the_wheels_that_fit_an_image(fields: dict[str, str], first: str, uv: str | None) -> None:
    foreign = image(**fields).foreign

    assert foreign.platforms[0] == first
    assert foreign.as_uv_says == uv


def test_what_comes_beside_it_goes_with_its_packages() -> None:
    packages = [["Shop", "1.0"], ["Packaging", "24.0"], ["local", "1+x"], [None, None]]

    assert image(packages=packages).pins("shop") == ["packaging==24.0"]
