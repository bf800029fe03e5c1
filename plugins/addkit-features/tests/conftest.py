"""Laws of addkit's kinds as tests: a test that asks for `law` runs once for each."""

pytest_plugins = ["addkit.testing"]
