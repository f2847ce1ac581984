package peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EventReaderTest {
    private static final long START = 1_772_427_600_000L;
    private static final String GOOD = "{\"event_id\":\"a1\",\"imsi\":\"001010123456789\",\"ts\":1772427900000,"
            + "\"cell\":\"001-01-00abcde\"}";
    private static final String OTHER = GOOD.replace("456789", "456780").replace("79000", "82000");

    @TempDir
    Path folder;

    private EventReader reader;

    @BeforeEach
    void setUp() throws IOException {
        Path file = folder.resolve("cells.csv");
        Files.writeString(file, "cell,zone\n001-01-00abcde,7\n262-001-000a-BCDE,8\n262-01-123456789,999\n");
        byte[] key = new byte[32];
        reader = new EventReader(Cells.read(file), Hash.named("blake2b", key), START, 300_000);
    }

    @Test
    void anEventIsPseudonymPaneAndZone() {
        Sightings read = read(GOOD);
        assertEquals(1, read.count);
        assertNotEquals(Sightings.REJECTED, read.rows[0]);
        assertEquals(1, Sightings.pane(read.rows[1]));
        assertEquals(7, Sightings.zone(read.rows[1]));
        assertEquals(1_772_427_900_000L, read.latest);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"cell\":\"001-01-00ABCDE\",\"ts\":1772427900000,\"event_id\":\"a1\",\"imsi\":\"001010123456789\"}",
                " {\"a\": [1,{\"b\":\"]}\\\"\"}], \"imsi\" : \"001010123456789\" ,\"ts\":1772427900000 ,\"x\":null,"
                        + "\"event_id\":\"a\\n\",\"kind\":\"update\",\"cell\":\"001-01-00abcde\" } ",
            })
    void anEventMayBeWrittenInAnyWay(String text) {
        Sightings read = read(text);
        assertEquals(1, read.count);
        assertEquals(read(GOOD).rows[0], read.rows[0]);
        assertEquals(read(GOOD).rows[1], read.rows[1]);
    }

    @ParameterizedTest
    @ValueSource(strings = {"262-001-000a-bcde", "262-01-123456789", "001-01-00abcde"})
    void aCellIsKnownByAnyOfItsForms(String cell) {
        assertNotEquals(Sightings.REJECTED, read(GOOD.replace("001-01-00abcde", cell)).rows[0]);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{}",
                "[]",
                "7",
                "\"imsi\"",
                "{\"event_id\":\"a1\",\"imsi\":\"001010123456789\",\"ts\":1772427900000,\"cell\":\"001-01-00abcd",
                "{\"event_id\":\"a1\",\"imsi\":\"001010123456789\",\"ts\":1772427900000}",
                "{\"imsi\":\"001010123456789\",\"ts\":1772427900000,\"cell\":\"001-01-00abcde\"}",
            })
    void whatIsNoEventIsRejectedOnce(String text) {
        assertRejected(text);
    }

    @Test
    void aWrongFieldIsRejected() {
        assertRejected(GOOD.replace("001010123456789", "00101012345678x"));
        assertRejected(GOOD.replace("001010123456789", "0010101234567"));
        assertRejected(GOOD.replace("001010123456789", "0010101234567890"));
        assertRejected(GOOD.replace("001010123456789", "101010123456789"));
        assertRejected(GOOD.replace("\"001010123456789\"", "101010123456789"));
        assertRejected(GOOD.replace("1772427900000", "\"1772427900000\""));
        assertRejected(GOOD.replace("1772427900000", "1772427900000.5"));
        assertRejected(GOOD.replace("1772427900000", "null"));
        assertRejected(GOOD.replace("1772427900000", "17724279000000"));
        assertRejected(GOOD.replace("\"a1\"", "\"\""));
        assertRejected(GOOD.replace("\"a1\"", "\"" + "a".repeat(65) + "\""));
        assertRejected(GOOD.replace("00abcde", "00abcdf"));
        assertRejected(GOOD.replace("00abcde", "00abcdeg"));
        assertRejected(GOOD.replace("}", ",\"ts\":1772427900000}"));
        assertRejected(GOOD + "x");
    }

    @Test
    void aRejectedEventKeepsItsPane() {
        assertEquals(1, Sightings.pane(read(GOOD.replace("00abcde", "00abcdf")).rows[1]));
    }

    @Test
    void aBeatIsNoEvent() {
        assertEquals(0, read("{\"kind\":\"beat\",\"source\":\"s\",\"ts\":1772427900000}").count);
    }

    @Test
    void anArrayIsItsElements() {
        Sightings read = read("[" + GOOD + " , " + OTHER + "]");
        assertEquals(2, read.count);
        assertEquals(read(OTHER).rows[0], read.rows[2]);
    }

    @Test
    void aBrokenElementLeavesItsNeighboursWhole() {
        Sightings read = read("[" + GOOD + ",{\"a\":[\"]\",}},nonsense,{\"b\",\"c\"}," + OTHER + "]");
        assertEquals(5, read.count);
        assertEquals(read(GOOD).rows[0], read.rows[0]);
        assertEquals(Sightings.REJECTED, read.rows[2] | read.rows[4] | read.rows[6]);
        assertEquals(read(OTHER).rows[0], read.rows[8]);
    }

    @Test
    void whatFollowsAnArrayIsOneReject() {
        assertEquals(2, read("[" + GOOD + "] x").count);
    }

    private void assertRejected(String text) {
        Sightings read = read(text);
        assertEquals(1, read.count, text);
        assertEquals(Sightings.REJECTED, read.rows[0], text);
    }

    private Sightings read(String text) {
        Sightings read = new Sightings(1);
        reader.read(text.getBytes(StandardCharsets.UTF_8), read);
        return read;
    }
}
