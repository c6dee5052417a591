pytest_plugins = ["tools.datastores.fixtures"]
