"""Speed against the bare forward pass, against the peers, and in the browser: `make bench`."""
