pytest_plugins = [
    "archive_fixtures",
    "browser_fixtures",
    "cli_fixtures",
    "core_fixtures",
    "data_fixtures",
    "disk_fixtures",
    "model_fixtures",
    "studio_fixtures",
    "survey_fixtures",
]
