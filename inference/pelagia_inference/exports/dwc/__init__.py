"""A survey as a Darwin Core Archive, as OBIS and GBIF take it for imaging data."""
