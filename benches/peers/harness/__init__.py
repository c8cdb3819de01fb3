"""What `corpora` and `run` are made of: corpora, tools, measuring, comparing, reporting.

Python's standard library only. Nothing here is imported by the product.
"""
