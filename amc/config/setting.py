"""The value of one setting of a run, as its files hold it."""

Setting = str | int | float | bool | None
