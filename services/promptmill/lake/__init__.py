"""The training store on Delta Lake; the only importer of deltalake."""
