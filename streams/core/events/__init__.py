"""Raw records to attach events in columns: the record format, the fast scanner and the plain decoder that it must
equal; which devices are no people."""
