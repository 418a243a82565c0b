"""A survey: the folder of results of one run of the classifier over the images of a cruise, a station or a deployment.

`pelagia classify MODEL.onnx INPUT --out FOLDER` makes it. It holds the journal ``survey.sqlite``
(`pelagia.survey.journal`), the tables written from it (``predictions.csv``, ``predictions.parquet``), and the logs of
the runs. Each image has one row, whether it was classified or failed. A survey belongs to one model and one set of
settings.
"""
