"""What models cost: every call on the record, and money reserved before it is spent."""
