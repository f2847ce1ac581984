package peers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PanesTest {
    @Test
    void sumsAreThoseOfTheDefinition() {
        People people = new People();
        Panes panes = new Panes();
        Plain plain = new Plain();
        Random draws = new Random(1);
        for (int i = 0; i < 20_000; i++) {
            long person = 1 + draws.nextInt(500) * 0x9E3779B97F4A7C15L;
            long now = Sightings.where(i / 1_000 + draws.nextInt(2), draws.nextInt(20));
            panes.count(people.move(person, now), now);
            plain.count(person, Sightings.pane(now), Sightings.zone(now));
        }
        assertEquals(500, people.size());
        for (PaneSums sums : panes.all()) {
            for (int zone = 0; zone < 20; zone++) {
                assertEquals(plain.at("present", sums.pane, zone), sums.present[zone]);
                assertEquals(plain.at("recent", sums.pane, zone), sums.recent[zone]);
                assertEquals(plain.at("arrivals", sums.pane, zone), sums.arrivals[zone]);
            }
            for (int pair = 0; pair < 400; pair++) {
                int expected = plain.at("trips", sums.pane, pair);
                String entry = "\"" + pair / 20 + "-" + pair % 20 + "\":" + expected;
                assertEquals(expected > 0, sums.toJson().contains(entry), entry);
            }
        }
    }

    @Test
    void aPaneLeavesOnceAndBeginsAnew() {
        Panes panes = new Panes();
        panes.count(People.NONE, Sightings.where(0, 5));
        panes.reject(1);
        List<String> left = new ArrayList<>();
        panes.emitBefore(1, left::add);
        panes.emitBefore(1, left::add);
        assertEquals(
                List.of("{\"pane\":0,\"events\":1,\"rejected\":0,\"present\":{\"5\":1},\"recent\":{\"5\":1},"
                        + "\"arrivals\":{\"5\":1},\"trips\":{}}"),
                left);
        panes.count(Sightings.where(0, 5), Sightings.where(0, 6));
        panes.emitBefore(1, left::add);
        assertEquals(
                "{\"pane\":0,\"events\":1,\"rejected\":0,\"present\":{\"5\":-1,\"6\":1},\"recent\":{\"5\":-1,\"6\":1},"
                        + "\"arrivals\":{\"6\":1},\"trips\":{\"5-6\":1}}",
                left.get(1));
    }

    @Test
    void peopleAreKeptAsTheTableGrows() {
        People people = new People();
        Random draws = new Random(2);
        Map<Long, Long> expected = new HashMap<>();
        for (int i = 0; i < 50_000; i++) {
            long person = draws.nextInt(20_000) + 1;
            Long before = expected.put(person, (long) i);
            assertEquals(before == null ? People.NONE : before, people.move(person, i));
        }
        assertEquals(expected.size(), people.size());
        assertEquals(2 * expected.size(), people.copy().rows().length);
    }

    /** The job's rules, word for word. */
    private static final class Plain {
        private final Map<Long, int[]> last = new HashMap<>();
        private final Map<String, Integer> sums = new HashMap<>();

        void count(long person, int pane, int zone) {
            int[] state = last.put(person, new int[] {zone, pane});
            boolean moved = state == null || state[0] != zone;
            if (moved) {
                if (state != null) {
                    add("present", pane, state[0], -1);
                    add("trips", pane, 20 * state[0] + zone, 1);
                }
                add("present", pane, zone, 1);
                add("arrivals", pane, zone, 1);
            }
            if (state != null) {
                for (int s = pane; s <= state[1] + 2; s++) {
                    add("recent", s, state[0], -1);
                }
            }
            for (int s = pane; s <= pane + 2; s++) {
                add("recent", s, zone, 1);
            }
        }

        int at(String name, int pane, int key) {
            return sums.getOrDefault(name + " " + pane + " " + key, 0);
        }

        private void add(String name, int pane, int key, int by) {
            sums.merge(name + " " + pane + " " + key, by, Integer::sum);
        }
    }
}
