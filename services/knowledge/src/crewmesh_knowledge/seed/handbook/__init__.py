"""The handbook's documents, one Markdown file each; the first heading is the title."""
