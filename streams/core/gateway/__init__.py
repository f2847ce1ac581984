"""Events to sightings: who may be counted, as whom and where; rows of `sightings` in frames. Only here an IMSI and a
key meet."""
