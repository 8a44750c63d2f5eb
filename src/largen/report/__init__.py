"""Results to people: tables, figures, HTML."""
