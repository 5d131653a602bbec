package locality

import "time"

// Band is a range of round-trip times that count as equally near, 1 the
// nearest. Band b holds times from 2^(b-2) up to 2^(b-1) milliseconds, the
// first all below 1 ms and the last all from 512 ms on.
//
// The bands double since a client notices how many times slower an answer is,
// not by how many milliseconds: 5, 40 and 120 ms are three bands whatever was
// before, while 40 and 50 ms share the load as they share their band.
type Band uint8

const (
	// NoBand is the band of what was not measured.
	NoBand Band = 0
	// Bands is the number of bands.
	Bands = 11
	// bandUnit is the end of the first band: zones of one region are about a
	// millisecond apart, and what is nearer is as near as can be.
	bandUnit = time.Millisecond
)

// NextBand is the band of a round-trip time for something that was in band
// previous. It stays there until the time is beyond the band's ends by half as
// much again: then jitter of 30 % to either side of any time moves nothing,
// and moves it at most once where the first sample was the extreme one, since
// the way back, 1.5² = 2.25 times, is longer than from 0.7 to 1.3. The same
// previous band and time give the same band, and given that one, it again.
func NextBand(previous Band, rtt time.Duration) Band {
	if rtt <= 0 {
		return NoBand
	}
	if previous > NoBand && previous <= Bands {
		// 3/2 × the end; time.Duration doesn't overflow at 3 × 512 ms, and rtt
		// is not multiplied.
		low := previous == 1 || rtt >= bandEnd(previous-1)*2/3
		high := previous == Bands || rtt < bandEnd(previous)*3/2
		if low && high {
			return previous
		}
	}
	for b := Band(1); b < Bands; b++ {
		if rtt < bandEnd(b) {
			return b
		}
	}
	return Bands
}

// bandEnd is the first time above a band.
func bandEnd(b Band) time.Duration { return bandUnit << (b - 1) }

// bandTexts say which times a band holds.
var bandTexts = [Bands + 1]string{
	"round trip not measured", "round trip below 1ms",
	"round trip 1ms to 2ms", "round trip 2ms to 4ms", "round trip 4ms to 8ms", "round trip 8ms to 16ms",
	"round trip 16ms to 32ms", "round trip 32ms to 64ms", "round trip 64ms to 128ms", "round trip 128ms to 256ms",
	"round trip 256ms to 512ms", "round trip above 512ms",
}

// What was not measured is taken for what its place makes likely, so that a
// cluster in the viewer's region doesn't wait behind a measured one across an
// ocean while the first probes are on their way. Clouds promise below 1 ms in a
// zone and about 1 to 2 ms between the zones of a region.
const (
	unmeasuredZone   Band = 1
	unmeasuredRegion Band = 3
)
