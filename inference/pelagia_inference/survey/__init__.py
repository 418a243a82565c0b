"""One run of the classifier over a survey's images."""
