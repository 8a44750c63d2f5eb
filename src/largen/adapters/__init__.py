"""Other libraries: their models and ours. Each library is imported when a function of its module is called, never before."""
