"""Mails: written down with what they tell, sent afterwards."""
