package org.apache.beam.runners.fnexecution.control;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.UUID;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.BundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.DelayedBundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.runners.core.StateInternals;
import org.apache.beam.runners.core.StateInternalsFactory;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.core.TimerInternalsFactory;
import org.apache.beam.runners.flink.adapter.FlinkKey;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.CoderException;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.util.CoderUtils;
import org.apache.beam.sdk.values.WindowedValue;
import org.apache.beam.sdk.values.WindowedValues;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Duration;
import org.joda.time.Instant;

/**
 * Stands in for Beam's class of this name, which leaks a state name at each self-checkpoint.
 *
 * <p>A splittable DoFn that defers the rest of its work hands a residual to the runner, which keeps
 * it in a state and sets a timer of the same name. Beam up to 2.70 takes a new name each time, and
 * Flink never forgets one: a column family in RocksDB, a table on the heap. See
 * https://github.com/apache/beam/issues/27648. Here names are used again.
 */
public class BundleCheckpointHandlers {

  /**
   * Keeps residuals until their timers fire.
   *
   * <p>A name is {@code sdf_checkpoint:KEY:NUMBER}, KEY a hash of the operator's key and the window.
   * It is free if its timer has fired in this attempt of the task, or nothing was ever kept under
   * it. So after a restore no residual that still waits is overwritten. There are as many names as
   * residuals ever waited at once.
   */
  public static class StateAndTimerBundleCheckpointHandler<T> implements BundleCheckpointHandler {

    public static final String SDF_PREFIX = "sdf_checkpoint";

    /**
     * No residual is due sooner. Beam's operator emits a watermark only while no bundle is open, and
     * by a timer of its own that is due at the end of the bundle: a residual due at once opens the
     * next bundle before it.
     */
    private static final long LEAST_DELAY_MILLIS = 10;

    /**
     * Names whose timers have fired, by all before NUMBER. A keyed operator has a thread of its own,
     * and each attempt of its task a new one.
     */
    private static final ThreadLocal<Map<String, Queue<String>>> FIRED =
        ThreadLocal.withInitial(HashMap::new);

    /**
     * When the residuals of this attempt that wait are due, by name. All of an operator are to be due
     * together: one that is due while the bundle of another ends opens the next bundle at once, and
     * under load the watermark finds an open bundle each time.
     */
    private static final ThreadLocal<Map<String, Instant>> WAITING =
        ThreadLocal.withInitial(HashMap::new);

    /**
     * By how much the residuals of this attempt are due later than asked for, in milliseconds. After
     * a bundle the operator gives out what it made, and waits if the next step has no room. A
     * residual that becomes due in the meantime opens the next bundle before the watermark is sent:
     * it then stands until the next checkpoint, and the next step gets nothing to do but append.
     */
    private static final ThreadLocal<Double> EXTRA = ThreadLocal.withInitial(() -> 0.0);

    private static final double MOST_EXTRA_MILLIS = 1_000;

    private final TimerInternalsFactory<T> timers;
    private final StateInternalsFactory<T> states;
    private final Coder<WindowedValue<T>> residualCoder;
    private final Coder<BoundedWindow> windowCoder;
    private long batchResiduals = 0;

    @SuppressWarnings("unchecked")
    public StateAndTimerBundleCheckpointHandler(
        TimerInternalsFactory<T> timers,
        StateInternalsFactory<T> states,
        Coder<WindowedValue<T>> residualCoder,
        Coder windowCoder) {
      this.timers = timers;
      this.states = states;
      this.residualCoder = residualCoder;
      this.windowCoder = windowCoder;
    }

    /**
     * Whether a timer is one of a residual. Beam's operator asks when a timer fires, just before it
     * reads the residual, and never else; so the name is noted as free.
     */
    public static boolean isSdfTimer(String timerId) {
      if (!timerId.startsWith(SDF_PREFIX)) {
        return false;
      }
      Instant due = WAITING.get().remove(timerId);
      if (due != null && WAITING.get().isEmpty()) {
        adapt(Instant.now().getMillis() - due.getMillis());
      }
      String stem = timerId.substring(0, timerId.lastIndexOf(':') + 1);
      FIRED.get().computeIfAbsent(stem, any -> new ArrayDeque<>()).add(timerId);
      return true;
    }

    /** Called at the end of a bundle, on the operator's thread. */
    @Override
    public void onCheckpoint(ProcessBundleResponse response) {
      for (DelayedBundleApplication residual : response.getResidualRootsList()) {
        if (residual.hasApplication()) {
          keep(residual);
        }
      }
    }

    private void keep(DelayedBundleApplication residual) {
      WindowedValue<T> value = decoded(residual.getApplication());
      StateInternals state = states.stateInternalsForKey(value.getValue());
      Instant due = due(delayMillis(residual));
      Instant hold = Instant.ofEpochMilli(watermarkMillis(residual.getApplication()));
      for (BoundedWindow window : value.getWindows()) {
        StateNamespace namespace = StateNamespaces.window(windowCoder, window);
        String name = freeName(state, namespace);
        if (state.getKey() instanceof FlinkKey) {
          WAITING.get().put(name, due);
        }
        timers
            .timerInternalsForKey(value.getValue())
            .setTimer(namespace, name, "", due, hold, TimeDomain.PROCESSING_TIME);
        kept(state, namespace, name)
            .write(
                WindowedValues.of(
                    value.getValue(),
                    value.getTimestamp(),
                    Collections.singletonList(window),
                    value.getPaneInfo()));
      }
    }

    private static void adapt(long lateMillis) {
      double extra = EXTRA.get();
      extra = lateMillis > LEAST_DELAY_MILLIS ? extra + lateMillis : extra / 2;
      EXTRA.set(Math.min(MOST_EXTRA_MILLIS, extra));
    }

    /** After the delay, or with the others that wait, if they are due before. */
    private static Instant due(long delayMillis) {
      Instant now = Instant.now();
      Instant due = now.plus(Math.max(delayMillis, EXTRA.get().longValue()));
      for (Instant other : WAITING.get().values()) {
        due = other.isBefore(due) ? other : due;
      }
      return due.isBefore(now) ? now : due;
    }

    private String freeName(StateInternals state, StateNamespace namespace) {
      if (!(state.getKey() instanceof FlinkKey)) {
        // a bounded job: its state is in memory and is gone at its end
        return SDF_PREFIX + ":" + batchResiduals++ + ":0";
      }
      String stem = stem((FlinkKey) state.getKey(), namespace);
      Queue<String> fired = FIRED.get().get(stem);
      if (fired != null && !fired.isEmpty()) {
        return fired.remove();
      }
      int number = 0;
      while (kept(state, namespace, stem + number).read() != null) {
        number++;
      }
      return stem + number;
    }

    private static String stem(FlinkKey key, StateNamespace namespace) {
      byte[] window = namespace.stringKey().getBytes(StandardCharsets.UTF_8);
      byte[] element = key.getSerializedKey().array();
      byte[] both = new byte[window.length + element.length];
      System.arraycopy(window, 0, both, 0, window.length);
      System.arraycopy(element, 0, both, window.length, element.length);
      return SDF_PREFIX + ":" + UUID.nameUUIDFromBytes(both) + ":";
    }

    private ValueState<WindowedValue<T>> kept(
        StateInternals state, StateNamespace namespace, String name) {
      return state.state(namespace, StateTags.value(name, residualCoder));
    }

    private WindowedValue<T> decoded(BundleApplication application) {
      try {
        return CoderUtils.decodeFromByteArray(
            residualCoder, application.getElement().toByteArray());
      } catch (CoderException error) {
        throw new IllegalStateException("a residual cannot be decoded", error);
      }
    }

    /** What the DoFn asked for. Beam's class drops the part below a second. */
    private static long delayMillis(DelayedBundleApplication residual) {
      Duration asked = residual.getRequestedTimeDelay();
      return Math.max(LEAST_DELAY_MILLIS, millis(asked.getSeconds(), asked.getNanos()));
    }

    private static long watermarkMillis(BundleApplication application) {
      return application.getOutputWatermarksMap().values().stream()
          .mapToLong(watermark -> millis(watermark.getSeconds(), watermark.getNanos()))
          .min()
          .orElse(BoundedWindow.TIMESTAMP_MIN_VALUE.getMillis());
    }

    private static long millis(long seconds, int nanos) {
      return seconds * 1000 + nanos / 1_000_000;
    }
  }
}
