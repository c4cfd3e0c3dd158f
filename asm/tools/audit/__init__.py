"""Which labels of a data set look wrong, which faces ambiguous: probabilities, ranking, findings, page."""
