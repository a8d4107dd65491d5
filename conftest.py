"""What every test of this repository shares: pytest's own plugin for testing plugins."""

pytest_plugins = ["pytester"]
