"""The survey: the folder of results that one run of the classifier makes."""
