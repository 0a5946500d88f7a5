"""Product readers, one module per family; each exports ``reader`` (see `backend.catalogue.reader`)."""
