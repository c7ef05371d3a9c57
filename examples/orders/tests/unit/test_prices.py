import pytest
from orders.prices import total


@pytest.mark.parametrize(
    ("quantity", "cents"),
    [
        pytest.param(1, 890, id="one"),
        pytest.param(9, 8010, id="no rebate yet"),
        pytest.param(10, 8455, id="5 % off"),
        pytest.param(100, 80100, id="10 % off"),
    ],
)
def test_a_total_has_the_rebate_of_its_quantity(quantity, cents):
    assert total(890, quantity) == cents


@pytest.mark.parametrize("quantity", [0, -1, 1001])
def test_a_quantity_that_nobody_can_order_is_refused(quantity):
    with pytest.raises(ValueError, match="a number from 1 to 1000"):
        total(890, quantity)
