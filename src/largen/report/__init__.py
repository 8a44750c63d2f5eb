"""Results to people: the page, the record and the summary of `largen report`."""
