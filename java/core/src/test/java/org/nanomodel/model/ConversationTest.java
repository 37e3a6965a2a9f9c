package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.nanomodel.generate.Conversation;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.Request;
import org.nanomodel.ops.Cancel;

/** Turns that begin as the last one did are answered as if each were the first. */
@Timeout(60)
class ConversationTest {
  private static final Config CONFIG = TestConfig.parse(TestConfig.llama());
  private static final CausalModel MODEL =
      CausalModel.load(TestEngine.get(), CONFIG, MemoryWeights.random(CONFIG, 21));

  @AfterAll
  static void close() {
    MODEL.close();
  }

  private static GenerateOptions options(int maxTokens) {
    return GenerateOptions.builder()
        .maxTokens(maxTokens)
        .temperature(0.9)
        .seed(7)
        .ignoreEnd(true)
        .build();
  }

  private static int[] join(int[] a, List<Integer> b, int... c) {
    int[] all = Arrays.copyOf(a, a.length + b.size() + c.length);
    for (int i = 0; i < b.size(); i++) {
      all[a.length + i] = b.get(i);
    }
    System.arraycopy(c, 0, all, a.length + b.size(), c.length);
    return all;
  }

  @Test
  void eachTurnIsAnsweredAsIfItWereTheFirst() {
    var generator = new Generator(MODEL);
    try (var conversation = new Conversation(MODEL, Optional.empty())) {
      int[] prompt = CausalModelTest.ids(30, 97, 5);
      var prompts = new ArrayList<int[]>();
      for (int turn = 0; turn < 4; turn++) {
        prompts.add(prompt);
        GenerateResult kept = conversation.generate(Request.of(prompt, options(9)));
        assertThat(kept.ids())
            .as("turn %d", turn)
            .isEqualTo(generator.generate(prompt, options(9)).ids());
        prompt = join(prompt, kept.ids(), CausalModelTest.ids(5 + turn, 97, 60 + turn));
      }
      // the same again, one that differs early, a shorter one, one that has nothing in common
      int[] early = prompts.get(3).clone();
      early[17] = (early[17] + 1) % 97;
      var others = List.of(prompts.get(3), early, prompts.get(1), CausalModelTest.ids(40, 97, 77));
      for (int[] other : others) {
        assertThat(conversation.generate(Request.of(other, options(9))).ids())
            .isEqualTo(generator.generate(other, options(9)).ids());
      }
    }
  }

  @Test
  void anAnswerThatWasStoppedIsContinuedRightly() {
    int[] prompt = CausalModelTest.ids(20, 97, 9);
    try (var conversation = new Conversation(MODEL, Optional.empty())) {
      var cancel = new Cancel();
      var seen = new ArrayList<Integer>();
      GenerateResult cut =
          conversation.generate(
              new Request(
                  prompt,
                  options(30),
                  id -> {
                    seen.add(id);
                    if (seen.size() == 4) {
                      cancel.raise();
                    }
                    return true;
                  },
                  cancel));
      assertThat(cut.finishReason()).isEqualTo(FinishReason.CANCEL);
      int[] next = join(prompt, cut.ids(), 3, 1, 4);
      assertThat(conversation.generate(Request.of(next, options(9))).ids())
          .isEqualTo(new Generator(MODEL).generate(next, options(9)).ids());
    }
  }

  @Test
  void severalAnswersAreRefused() {
    try (var conversation = new Conversation(MODEL, Optional.empty())) {
      var two = GenerateOptions.builder().maxTokens(3).n(2).build();
      assertThatThrownBy(
              () -> conversation.generate(Request.of(CausalModelTest.ids(3, 97, 1), two)))
          .hasMessageContaining("n = 2");
    }
  }
}
