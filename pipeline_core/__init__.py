"""The pipeline's core: configuration, plugins, artifacts, stages and the loops algorithms are written over."""
