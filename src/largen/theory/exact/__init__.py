"""Networks of finite width at initialisation: exact laws, where they exist, and the couplings of the 1/n expansion."""
