"""HTTP as all dialects share it: bodies, negotiation, results, the page of API docs."""
