"""What people say of answers: read, bounded, joined to what is known of the exchange, counted."""
