"""The bundled model file (see NOTICE for its origin)."""
