"""The programs of FSM's and osm-edge's sidecar image, so that ours can stand in its place: see docs/fsm-image.md."""
