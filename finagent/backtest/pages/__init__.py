"""Pages: results as HTML files that need nothing beside them."""
