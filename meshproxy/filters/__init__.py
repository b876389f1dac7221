"""What a rule can do with its requests and answers beside sending them somewhere; see docs/filters.md."""
