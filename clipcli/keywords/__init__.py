"""Labels as keywords that photo programs read: XMP packets and the sidecars that hold them."""
