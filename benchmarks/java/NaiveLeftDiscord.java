/**
 * The plain left discord by definition, on primitive arrays: each point's subsequence against each
 * of the m before it, O(m n) a point. Arguments: m, n, points. Prints points a CPU-second.
 */
public final class NaiveLeftDiscord {
    private final double[] ring;
    private final int n;
    private final int m;
    private long points;

    NaiveLeftDiscord(int n, int m) {
        this.n = n;
        this.m = m;
        this.ring = new double[m + 2 * n];
    }

    double add(double value) {
        int size = ring.length;
        ring[(int) (points % size)] = value;
        points++;
        if (points < size) {
            return 0.0;
        }
        int newest = (int) (points % size); // the oldest point's place
        double best = Double.POSITIVE_INFINITY;
        for (int j = 0; j < m; j++) {
            double sum = 0.0;
            int ours = (newest + size - n) % size;
            int theirs = (newest + j) % size;
            for (int k = 0; k < n; k++) {
                double difference = ring[ours] - ring[theirs];
                sum += difference * difference;
                ours = ours + 1 == size ? 0 : ours + 1;
                theirs = theirs + 1 == size ? 0 : theirs + 1;
            }
            best = Math.min(best, sum);
        }
        return Math.sqrt(best);
    }

    public static void main(String[] arguments) {
        int m = Integer.parseInt(arguments[0]);
        int n = Integer.parseInt(arguments[1]);
        int rows = Integer.parseInt(arguments[2]);
        NaiveLeftDiscord detector = new NaiveLeftDiscord(n, m);
        java.util.Random random = new java.util.Random(1);
        double total = 0.0;
        for (int i = 0; i < m + 2 * n + rows / 4; i++) { // fill the ring and let it be compiled
            total += detector.add(Math.sin(i / 16.0) + 0.1 * random.nextGaussian());
        }
        var bean = java.lang.management.ManagementFactory.getThreadMXBean();
        long start = bean.getCurrentThreadCpuTime();
        for (int i = 0; i < rows; i++) {
            total += detector.add(Math.sin(i / 16.0) + 0.1 * random.nextGaussian());
        }
        double seconds = (bean.getCurrentThreadCpuTime() - start) * 1e-9;
        System.out.println(rows / seconds + " " + total);
    }
}
