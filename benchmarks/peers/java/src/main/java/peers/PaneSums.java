package peers;

/** The sums of one pane, and how they look in the output topic. */
public final class PaneSums {
    public final int pane;
    public long events;
    public long rejected;
    public final int[] present = new int[Sightings.ZONES];
    public final int[] recent = new int[Sightings.ZONES];
    public final int[] arrivals = new int[Sightings.ZONES];

    // Trips: open addressing, (from << 16 | to) + 1 and how many, side by side.
    private int[] trips = new int[2 * 1024];
    private int tripKinds;

    public PaneSums(int pane) {
        this.pane = pane;
    }

    public void addTrip(int from, int to) {
        int slot = slot(trips, (from << 16 | to) + 1);
        if (trips[slot] == 0) {
            trips[slot] = (from << 16 | to) + 1;
            tripKinds++;
        }
        trips[slot + 1]++;
        if (tripKinds > trips.length / 4) {
            growTrips();
        }
    }

    private void growTrips() {
        int[] larger = new int[2 * trips.length];
        for (int from = 0; from < trips.length; from += 2) {
            if (trips[from] != 0) {
                int to = slot(larger, trips[from]);
                larger[to] = trips[from];
                larger[to + 1] = trips[from + 1];
            }
        }
        trips = larger;
    }

    private static int slot(int[] trips, int key) {
        int mask = trips.length - 2;
        int slot = (key * 0x9E3779B9 >>> 9) & mask;
        while (trips[slot] != 0 && trips[slot] != key) {
            slot = slot + 2 & mask;
        }
        return slot;
    }

    /** As the job's output has it; zero entries are left out. */
    public String toJson() {
        StringBuilder json = new StringBuilder(16 * 1024);
        json.append("{\"pane\":").append(pane).append(",\"events\":").append(events);
        json.append(",\"rejected\":").append(rejected);
        appendZones(json, "present", present);
        appendZones(json, "recent", recent);
        appendZones(json, "arrivals", arrivals);
        json.append(",\"trips\":{");
        for (int slot = 0; slot < trips.length; slot += 2) {
            if (trips[slot] != 0) {
                int pair = trips[slot] - 1;
                json.append('"').append(pair >>> 16).append('-').append(pair & 0xFFFF).append("\":");
                json.append(trips[slot + 1]).append(',');
            }
        }
        return closeObject(json).append('}').toString();
    }

    private static void appendZones(StringBuilder json, String name, int[] sums) {
        json.append(",\"").append(name).append("\":{");
        for (int zone = 0; zone < sums.length; zone++) {
            if (sums[zone] != 0) {
                json.append('"').append(zone).append("\":").append(sums[zone]).append(',');
            }
        }
        closeObject(json);
    }

    private static StringBuilder closeObject(StringBuilder json) {
        if (json.charAt(json.length() - 1) == ',') {
            json.setLength(json.length() - 1);
        }
        return json.append('}');
    }
}
