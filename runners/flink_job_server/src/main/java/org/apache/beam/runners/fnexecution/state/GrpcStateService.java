package org.apache.beam.runners.fnexecution.state;

import java.io.IOException;
import java.io.InputStream;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StateAppendResponse;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StateKey;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StateRequest;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.StateResponse;
import org.apache.beam.model.fnexecution.v1.BeamFnStateGrpc;
import org.apache.beam.sdk.fn.server.FnService;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.ServerCallStreamObserver;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.StreamObserver;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.base.Throwables;

/**
 * Stands in for Beam's class of this name, and takes many requests in one message.
 *
 * <p>A Python worker sends a message for each cell of each key of a bundle, and gets one back. That
 * is most of what a key in a bundle costs, on both sides. Here an append to {@link #MANY}, a key that
 * names no state, is a series of requests, each after its length. They are done in their order, and
 * answered as one. See docs/decisions/0035-writes-of-state-together.md.
 */
public class GrpcStateService extends BeamFnStateGrpc.BeamFnStateImplBase
    implements StateDelegator, FnService {

  /** The same as in runners/worker_state.py. */
  private static final StateKey MANY =
      StateKey.newBuilder()
          .setRunner(
              StateKey.Runner.newBuilder().setKey(ByteString.copyFromUtf8("tidewatch:many")))
          .build();

  private final Queue<StreamObserver<StateResponse>> workers = new ConcurrentLinkedQueue<>();
  private final Map<String, StateRequestHandler> handlers = new ConcurrentHashMap<>();

  private GrpcStateService() {}

  public static GrpcStateService create() {
    return new GrpcStateService();
  }

  @Override
  public void close() {
    for (StreamObserver<StateResponse> worker : workers) {
      // a worker that has ended has cancelled its call
      if (!(worker instanceof ServerCallStreamObserver
          && ((ServerCallStreamObserver<StateResponse>) worker).isCancelled())) {
        worker.onCompleted();
      }
    }
  }

  @Override
  public StateDelegator.Registration registerForProcessBundleInstructionId(
      String bundle, StateRequestHandler handler) {
    handlers.putIfAbsent(bundle, handler);
    return new StateDelegator.Registration() {
      @Override
      public void deregister() {
        handlers.remove(bundle);
      }

      @Override
      public void abort() {
        deregister();
      }
    };
  }

  @Override
  public StreamObserver<StateRequest> state(StreamObserver<StateResponse> worker) {
    workers.add(worker);
    return new StreamObserver<StateRequest>() {
      @Override
      public void onNext(StateRequest request) {
        answer(request).thenAccept(worker::onNext);
      }

      @Override
      public void onError(Throwable error) {
        worker.onCompleted();
      }

      @Override
      public void onCompleted() {
        worker.onCompleted();
      }
    };
  }

  private CompletionStage<StateResponse> answer(StateRequest request) {
    StateRequestHandler handler = handlers.get(request.getInstructionId());
    CompletionStage<StateResponse.Builder> answer;
    if (handler == null) {
      String error = "Unknown process bundle instruction id '" + request.getInstructionId() + "'";
      answer = CompletableFuture.completedFuture(StateResponse.newBuilder().setError(error));
    } else if (request.getStateKey().equals(MANY)) {
      answer = doAll(handler, request.getAppend().getData());
    } else {
      answer = doOne(handler, request);
    }
    return answer.thenApply(builder -> builder.setId(request.getId()).build());
  }

  private static CompletionStage<StateResponse.Builder> doAll(
      StateRequestHandler handler, ByteString requests) {
    CompletionStage<StateResponse.Builder> all =
        CompletableFuture.completedFuture(
            StateResponse.newBuilder().setAppend(StateAppendResponse.getDefaultInstance()));
    InputStream bytes = requests.newInput();
    try {
      StateRequest request;
      while ((request = StateRequest.parseDelimitedFrom(bytes)) != null) {
        all = all.thenCombine(doOne(handler, request), GrpcStateService::firstError);
      }
    } catch (IOException error) {
      return CompletableFuture.completedFuture(failed(error));
    }
    return all;
  }

  private static StateResponse.Builder firstError(
      StateResponse.Builder before, StateResponse.Builder next) {
    return before.getError().isEmpty() && !next.getError().isEmpty() ? next : before;
  }

  private static CompletionStage<StateResponse.Builder> doOne(
      StateRequestHandler handler, StateRequest request) {
    try {
      return handler.handle(request).exceptionally(GrpcStateService::failed);
    } catch (Exception error) {
      return CompletableFuture.completedFuture(failed(error));
    }
  }

  private static StateResponse.Builder failed(Throwable error) {
    return StateResponse.newBuilder().setError(Throwables.getStackTraceAsString(error));
  }
}
