"""Datasets: simulated or read from files, split, fingerprinted, and landed once as Parquet.

`prepare` (an experiment's plan) and `ingest` (files and a mapping) are the two ways in, `dataset` the way out. The labels of
the test split lie apart in ``sealed/``; only `sealed.read_sealed` reads them, and no module of this package imports it.
"""
