"""Networks, targets, losses, data, training and export. Imported as `solo_rt.train`; needs the extra `train`."""
