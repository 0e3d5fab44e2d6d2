"""Knowledge bases: named places for documents, one organization's own."""
