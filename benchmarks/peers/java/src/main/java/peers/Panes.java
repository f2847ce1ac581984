package peers;

import java.util.TreeMap;
import java.util.function.Consumer;

/** The panes that a task has sums for: what a sighting adds to them, and which are due. */
public final class Panes {
    /** The sliding window, in panes. */
    public static final int WINDOW = 3;

    private static final int NEAR = 16; // a power of two

    private final TreeMap<Integer, PaneSums> open = new TreeMap<>();
    private final PaneSums[] near = new PaneSums[NEAR]; // some of them, by their number's last digits

    public void reject(int pane) {
        pane(pane).rejected++;
    }

    /** Count a sighting of someone who was at {@code before} (People.NONE: never heard) and is at {@code now}. */
    public void count(long before, long now) {
        int pane = Sightings.pane(now);
        int zone = Sightings.zone(now);
        PaneSums sums = pane(pane);
        sums.events++;
        int told = pane; // the first pane whose window doesn't have them in this zone yet
        if (before == People.NONE) {
            sums.present[zone]++;
            sums.arrivals[zone]++;
        } else {
            int from = Sightings.zone(before);
            int heardUntil = Sightings.pane(before) + WINDOW - 1;
            if (from == zone) {
                told = Math.max(pane, heardUntil + 1);
                for (int later = pane + WINDOW; later <= heardUntil; later++) { // only if out of order
                    pane(later).recent[zone]--;
                }
            } else {
                sums.present[from]--;
                sums.present[zone]++;
                sums.arrivals[zone]++;
                sums.addTrip(from, zone);
                for (int later = pane; later <= heardUntil; later++) {
                    pane(later).recent[from]--;
                }
            }
        }
        for (int later = told; later < pane + WINDOW; later++) {
            pane(later).recent[zone]++;
        }
    }

    /** Hand out the panes before {@code pane}, in order, and forget them. What comes later begins them anew. */
    public void emitBefore(int pane, Consumer<String> sink) {
        while (!open.isEmpty() && open.firstKey() < pane) {
            PaneSums sums = open.pollFirstEntry().getValue();
            if (near[sums.pane & NEAR - 1] == sums) {
                near[sums.pane & NEAR - 1] = null;
            }
            sink.accept(sums.toJson());
        }
    }

    /** All open panes, which stay. */
    public Iterable<PaneSums> all() {
        return open.values();
    }

    private PaneSums pane(int pane) {
        PaneSums sums = near[pane & NEAR - 1];
        return sums != null && sums.pane == pane ? sums : find(pane);
    }

    private PaneSums find(int pane) {
        PaneSums sums = open.computeIfAbsent(pane, PaneSums::new);
        near[pane & NEAR - 1] = sums;
        return sums;
    }
}
