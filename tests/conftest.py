pytest_plugins = ["browser_fixtures", "cli_fixtures", "data_fixtures", "model_fixtures", "studio_fixtures"]
