"""Invitations: a link in a mail that makes its reader a member."""
