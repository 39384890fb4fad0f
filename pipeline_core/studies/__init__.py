"""Studies: experiments of a paper that need no language model and no pipeline, each one function from settings."""
