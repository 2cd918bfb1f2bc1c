"""One job at a time on a host: sent as a tar, followed, ended when its controller is gone."""
