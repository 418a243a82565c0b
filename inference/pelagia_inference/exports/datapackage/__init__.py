"""A survey as a Frictionless data package: its tables as CSV, and ``datapackage.json`` with the type of each column.

    images.csv        a row for each image, with the columns of ``predictions.csv``
    samples.csv       a row for each sample
    counts.csv        a row for each sample and class or taxon
    classes.csv, taxa.csv                         the taxonomy of the model
    confirmed.csv, counted_cells.csv, image_flags.csv, sample_flags.csv, measures.csv
                      what was added to the survey, if there is any

Source: Data Package and Table Schema, version 1 (https://specs.frictionlessdata.io).
"""
