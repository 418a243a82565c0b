"""How far the labeling of a project is: labels so far, the learning curve and its forecast, and images for review."""
